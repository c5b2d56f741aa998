-- SPDX-License-Identifier: Apache-2.0
-- How far the sink is: everything below `next_offset` is in the tables and was checked. The topic's id
-- is part of the key, so a store that belongs to another log is noticed and refused.

CREATE TABLE IF NOT EXISTS agentguard.sink_progress (
  topic LowCardinality(String),
  topic_id LowCardinality(String),
  partition Int32,
  next_offset Int64,
  written_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (topic, topic_id, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What the store serves: one row, written once. An empty tenant means any (a server).
CREATE TABLE IF NOT EXISTS agentguard.store_identity (
  cluster String,
  tenant String,
  founded_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree
ORDER BY (cluster, tenant)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
