-- SPDX-License-Identifier: Apache-2.0
-- One table for each kind of record on the log: append-only, first writer wins.
--
-- Every table has the record's place (topic, partition, offset), its leaf hash (RFC 6962) and the
-- exact sealed bytes. `keep_rank` falls with time and cannot be named in an INSERT, so a merge keeps
-- the row that was written first; another leaf at the same place stays as a second, visible row.
-- `event_time` is the record's own time where it lies within a day of the log's time, else the log's.
-- `problem` says why a row holds no more than its place and leaf; offsets have no gaps even so.
-- Content is kept once, inside `payload`: texts are ALIAS columns that cut it out by position.
-- Retention counts from `ingested_at`: no record can ask for its own early removal.


CREATE TABLE IF NOT EXISTS agentguard.requests (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  request_id UUID CODEC(ZSTD(1)),
  tool LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  environment LowCardinality(String),
  dry_run Bool,
  deadline DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  task_voucher LowCardinality(String),
  on_behalf_of LowCardinality(String),
  approval_id String CODEC(ZSTD(1)),
  outcome_refs Array(String) CODEC(ZSTD(1)),
  traceparent String CODEC(ZSTD(1)),
  decisions_floor Int64 CODEC(Delta(8), ZSTD(1)),
  task_at UInt16,
  task_bytes UInt16,
  parameters_at UInt16,
  parameters_bytes UInt16,
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  task String ALIAS substring(payload, task_at + 1, task_bytes),
  parameters String ALIAS substring(payload, parameters_at + 1, parameters_bytes),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1,
  INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX ix_parameters substring(payload, parameters_at + 1, parameters_bytes) TYPE text(tokenizer = 'splitByNonAlpha')
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- `request_offset` is -1 where the output answers no request of ours. `output` is empty where it is
-- encrypted or travels in chunks; `output_size` is its size all the same.
CREATE TABLE IF NOT EXISTS agentguard.outcomes (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  outcome_id String CODEC(ZSTD(1)),
  tool LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  status LowCardinality(String),
  registry_label LowCardinality(String),
  voucher LowCardinality(String),
  request_offset Int64 CODEC(Delta(8), ZSTD(1)),
  output_size Int64 CODEC(ZSTD(1)),
  output_at UInt16,
  output_bytes UInt16,
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  output String ALIAS substring(payload, output_at + 1, output_bytes),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS agentguard.enforcements (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  code LowCardinality(String),
  reason LowCardinality(String),
  count Int64,
  window_ms Int64,
  request_id UUID CODEC(ZSTD(1)),
  request_offset Int64 CODEC(Delta(8), ZSTD(1)),
  not_written Array(Int64) CODEC(ZSTD(1)),
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- One row a record: three arrays of one length, one element a delivered answer.
CREATE TABLE IF NOT EXISTS agentguard.deliveries (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  request_offsets Array(Int64) CODEC(ZSTD(1)),
  decision_offsets Array(Int64) CODEC(ZSTD(1)),
  actions Array(LowCardinality(String)) CODEC(ZSTD(1)),
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, event_time)
ORDER BY (tenant, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS agentguard.redemptions (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  request_partition Int64,
  request_offset Int64 CODEC(Delta(8), ZSTD(1)),
  purpose LowCardinality(String),
  redeemer LowCardinality(String),
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS agentguard.chunks (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  set_id String CODEC(ZSTD(1)),
  position Int64,
  count Int64,
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- First record of each life of a door in each partition; -1 where it knows of none, or stopped uncleanly.
CREATE TABLE IF NOT EXISTS agentguard.epochs (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  previous_epoch Int64,
  previous_last_sequence Int64,
  mode LowCardinality(String),
  producer LowCardinality(String),
  epoch Int64 CODEC(Delta(8), ZSTD(1)),
  sequence Int64 CODEC(Delta(8), ZSTD(1)),
  control_offset Int64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (event_time)
ORDER BY (event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Every record of ag.decisions, effective or not. `counts` is the sink's answer to whether it counts as
-- the decision of the request it names (then tenant, agent and `src_time` are that request's); the
-- first that counts, in offset order, is the effective one: view `decisions`. A quote in a reason is
-- evidence, kept inside `payload` and filled in when it is read.
CREATE TABLE IF NOT EXISTS agentguard.decisions_all (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  src_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  source_topic LowCardinality(String),
  source_partition Int64,
  source_offset Int64 CODEC(Delta(8), ZSTD(1)),
  counts Bool,
  request_id UUID CODEC(ZSTD(1)),
  tool LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  mode LowCardinality(String),
  verdict LowCardinality(String),
  code LowCardinality(String),
  codes Array(LowCardinality(String)),
  reason_text String CODEC(ZSTD(1)),
  remedy String CODEC(ZSTD(1)),
  rules Array(LowCardinality(String)),
  scopes Array(LowCardinality(String)),
  obligations Array(LowCardinality(String)),
  risk LowCardinality(String),
  intent LowCardinality(String),
  recommended LowCardinality(String),
  confidence_ppm Int64 CODEC(T64, ZSTD(1)),
  risk_reasons Array(LowCardinality(String)),
  model LowCardinality(String),
  classified_by LowCardinality(String),
  failure LowCardinality(String),
  facts Map(LowCardinality(String), String),
  charge_counters Array(LowCardinality(String)),
  charge_amounts Array(Int64),
  has_transform Bool,
  grant_hash String CODEC(ZSTD(1)),
  grant_details String CODEC(ZSTD(1)),
  grant_expires DateTime64(3, 'UTC') CODEC(ZSTD(1)),
  approval_group LowCardinality(String),
  retry_of Int64 CODEC(ZSTD(1)),
  decided_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  latency_ms Int64 CODEC(T64, ZSTD(1)),
  stages Map(LowCardinality(String), Int64),
  cache Bool,
  lane LowCardinality(String),
  worker LowCardinality(String),
  decisions_offset Int64 CODEC(Delta(8), ZSTD(1)),
  signal_offset Int64 CODEC(ZSTD(1)),
  control_offset Int64 CODEC(ZSTD(1)),
  release Int64 CODEC(ZSTD(1)),
  bundle_digest LowCardinality(String),
  tool_pin LowCardinality(String),
  engines LowCardinality(String),
  schemas Int64,
  semantics Int64,
  evidence_at UInt16,
  evidence_bytes UInt16,
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  evidence String ALIAS substring(payload, evidence_at + 1, evidence_bytes),
  sentence String ALIAS replaceRegexpAll(substringUTF8(JSONExtractString(substring(payload, evidence_at + 1, evidence_bytes), 'sentence'), 1, 200), '\\pC', ' '),
  reason String ALIAS if(empty(sentence), reason_text, replaceOne(reason_text, '(content not available)', concat('“', sentence, '”'))),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1,
  INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX ix_source source_offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(src_time)
PRIMARY KEY (tenant, agent_id, src_time)
ORDER BY (tenant, agent_id, src_time, source_topic, source_partition, source_offset, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS agentguard.signals (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  agent_id LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  mode LowCardinality(String),
  kind LowCardinality(String),
  level Int64,
  reason String CODEC(ZSTD(1)),
  evidence_refs Array(String) CODEC(ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (tenant, agent_id, event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Every record of ag.control with the verdict that every fold reaches: a rejected command had no effect.
-- `body` is the command as JSON, for reading; what was signed is in `payload`.
CREATE TABLE IF NOT EXISTS agentguard.control_commands (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  tenant LowCardinality(String),
  mode LowCardinality(String),
  type LowCardinality(String),
  accepted Bool,
  rejection LowCardinality(String),
  scope String CODEC(ZSTD(1)),
  scope_version Int64,
  audience LowCardinality(String),
  fold_min Int64,
  not_before DateTime64(3, 'UTC') CODEC(ZSTD(1)),
  not_after DateTime64(3, 'UTC') CODEC(ZSTD(1)),
  signers Array(LowCardinality(String)),
  command_digest String CODEC(ZSTD(1)),
  body String CODEC(ZSTD(3)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMM(event_time)
PRIMARY KEY (event_time)
ORDER BY (event_time, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- What some process could not read: where it lies, which stage gave up, and why.
CREATE TABLE IF NOT EXISTS agentguard.dead_letters (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  mode LowCardinality(String),
  source_topic LowCardinality(String),
  source_partition Int64,
  source_offset Int64 CODEC(Delta(8), ZSTD(1)),
  stage LowCardinality(String),
  error LowCardinality(String),
  fingerprint String CODEC(ZSTD(1)),
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMMDD(event_time)
PRIMARY KEY (event_time)
ORDER BY (event_time, source_topic, source_partition, source_offset, stage, topic, partition, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Signed tree heads, about one a head and minute. The root is part of the key: a fork stays visible.
CREATE TABLE IF NOT EXISTS agentguard.checkpoints (
  topic LowCardinality(String),
  partition Int32,
  offset Int64 CODEC(Delta(8), ZSTD(1)),
  leaf_hash FixedString(32) CODEC(NONE),
  payload String CODEC(ZSTD(3)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  problem LowCardinality(String),
  event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  mode LowCardinality(String),
  origin LowCardinality(String),
  sealed_topic LowCardinality(String),
  sealed_partition Int64,
  generation Int64,
  size Int64,
  root FixedString(32) CODEC(NONE),
  note String CODEC(NONE),
  next_offset Int64,
  ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  keep_rank UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(ZSTD(1)),
  INDEX ix_offset offset TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(keep_rank)
PARTITION BY toYYYYMM(event_time)
PRIMARY KEY (origin, generation, size)
ORDER BY (origin, generation, size, root, offset, leaf_hash)
TTL toDateTime(ingested_at) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
