-- SPDX-License-Identifier: Apache-2.0
-- Latency by minute, tool, verdict and stage, as a histogram: bucket = floor(8 * log2(microseconds)).
-- Recomputed as a whole for every minute that got rows lately, so that duplicates, late rows and a
-- rebuilt store all come to the same numbers. Read with FINAL. Stage `total` is accepted to decided.

CREATE TABLE IF NOT EXISTS agentguard.decision_latency_1m (
  minute DateTime('UTC'),
  tenant LowCardinality(String),
  tool LowCardinality(String),
  verdict LowCardinality(String),
  stage LowCardinality(String),
  bucket UInt16,
  n UInt64,
  sum_us Int64,
  computed_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, tenant, tool, verdict, stage, bucket)
TTL minute + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS agentguard.decision_latency_1m_refresh
REFRESH EVERY 1 MINUTE APPEND TO agentguard.decision_latency_1m AS
SELECT toStartOfMinute(src_time) AS minute, tenant, tool, verdict, stage,
  toUInt16(floor(8 * log2(greatest(us, 1)))) AS bucket, count() AS n, sum(us) AS sum_us,
  now64(3) AS computed_at
FROM (
  SELECT src_time, tenant, tool, verdict, stage_of.1 AS stage, greatest(stage_of.2, 0) AS us
  FROM agentguard.decisions
  ARRAY JOIN arrayConcat([('total', latency_ms * 1000)],
    arrayZip(CAST(mapKeys(stages), 'Array(String)'), CAST(mapValues(stages), 'Array(Int64)'))) AS stage_of
  WHERE toStartOfMinute(src_time) IN (
    SELECT DISTINCT toStartOfMinute(src_time) FROM agentguard.decisions_all
    WHERE ingested_at > now64(3) - INTERVAL 10 MINUTE)
)
GROUP BY minute, tenant, tool, verdict, stage, bucket;
