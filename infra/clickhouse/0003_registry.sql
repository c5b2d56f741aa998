-- SPDX-License-Identifier: Apache-2.0
-- Current state, filled from the control commands that every fold accepts. `rev` is the command's offset.

CREATE TABLE IF NOT EXISTS agentguard.agents_all (
  tenant LowCardinality(String),
  agent_id String,
  rev Int64,
  status LowCardinality(String),
  owner LowCardinality(String),
  version LowCardinality(String),
  roles Array(LowCardinality(String)),
  capabilities Array(LowCardinality(String)),
  risk_profile LowCardinality(String),
  attestation LowCardinality(String),
  credential_id String,
  expires_at DateTime64(3, 'UTC'),
  registered_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(rev)
ORDER BY (tenant, agent_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS agentguard.tools_all (
  tenant LowCardinality(String),
  tool String,
  rev Int64,
  status LowCardinality(String),
  server LowCardinality(String),
  version LowCardinality(String),
  description String CODEC(ZSTD(3)),
  schema_json String CODEC(ZSTD(3)),
  pin String,
  operation LowCardinality(String),
  side_effect LowCardinality(String),
  categories Array(LowCardinality(String)),
  decisive_arguments Array(LowCardinality(String)),
  output_trust LowCardinality(String),
  scopes Array(LowCardinality(String)),
  resource String,
  registered_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(rev)
ORDER BY (tenant, tool)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Every accepted release stays; the one in force is the greatest `sequence` with mode `enforce`.
CREATE TABLE IF NOT EXISTS agentguard.policies_all (
  sequence Int64,
  rev Int64,
  mode LowCardinality(String),
  bundle_digest String,
  previous_digest String,
  rollback_of Int64,
  expires_at DateTime64(3, 'UTC'),
  activated_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(rev)
ORDER BY (sequence, bundle_digest)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which control of which framework a code or fact of ours is evidence for, with the query that shows it.
CREATE TABLE IF NOT EXISTS agentguard.compliance_mappings_all (
  framework LowCardinality(String),
  control String,
  code LowCardinality(String),
  rev Int64,
  title String,
  evidence_query String
) ENGINE = ReplacingMergeTree(rev)
ORDER BY (framework, control, code)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
