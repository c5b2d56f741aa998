-- SPDX-License-Identifier: Apache-2.0
-- What analysts read. Each view has an example question in docs/analyst/views.md.

-- The effective decisions: the first that counts, in offset order, for each request.
CREATE VIEW IF NOT EXISTS agentguard.decisions AS
SELECT *, evidence, sentence, reason
FROM agentguard.decisions_all
WHERE counts
ORDER BY tenant, agent_id, src_time, source_topic, source_partition, source_offset, partition, offset
LIMIT 1 BY tenant, agent_id, src_time, source_topic, source_partition, source_offset;

-- What the caller really got. `action` is what was answered; `how` says how that is known:
-- delivered, not_delivered (nothing reached the caller), denied_at_gateway, not_reported (the door
-- has not said yet, or stopped uncleanly). The first report in offset order is the one that holds.
CREATE VIEW IF NOT EXISTS agentguard.enforced_actions AS
WITH
  delivered AS (
    SELECT partition, request_offset, min(offset) AS at, argMin(answer, offset) AS answered
    FROM agentguard.deliveries
    ARRAY JOIN request_offsets AS request_offset, actions AS answer
    GROUP BY partition, request_offset
  ),
  reported AS (
    SELECT tenant, request_id, min(offset) AS at, argMin(code, offset) AS report,
      argMin(reason, offset) AS why
    FROM agentguard.enforcements
    WHERE code IN ('not_delivered', 'denied_at_gateway')
      AND request_id != toUUID('00000000-0000-0000-0000-000000000000')
    GROUP BY tenant, request_id
  )
SELECT d.src_time AS event_time, d.tenant AS tenant, d.agent_id AS agent_id,
  d.session_id AS session_id, d.tool AS tool, d.request_id AS request_id, d.verdict AS decided,
  multiIf(
    g.answered != '' AND (r.report = '' OR g.at < r.at), 'delivered',
    r.report != '', r.report,
    'not_reported') AS how,
  multiIf(how = 'delivered', g.answered, how = 'denied_at_gateway', 'deny',
    how = 'not_delivered', 'none', 'unknown') AS action,
  if(how = 'denied_at_gateway', r.why, d.code) AS code, d.reason AS reason, 1 AS count,
  d.source_partition AS partition, d.source_offset AS request_offset,
  d.offset AS decision_offset
FROM agentguard.decisions AS d
LEFT JOIN delivered AS g
  ON g.partition = d.source_partition AND g.request_offset = d.source_offset
LEFT JOIN reported AS r ON r.tenant = d.tenant AND r.request_id = d.request_id
UNION ALL
SELECT e.event_time AS event_time, e.tenant AS tenant, e.agent_id AS agent_id, '' AS session_id,
  '' AS tool, e.request_id AS request_id, '' AS decided, 'denied_at_gateway' AS how,
  'deny' AS action, e.reason AS code, '' AS reason, e.count AS count,
  e.partition AS partition, e.request_offset AS request_offset, toInt64(-1) AS decision_offset
FROM agentguard.enforcements AS e
WHERE e.code = 'denied_at_gateway' AND e.request_id NOT IN (
  SELECT d.request_id FROM agentguard.decisions_all AS d
  WHERE d.counts AND d.request_id != toUUID('00000000-0000-0000-0000-000000000000')
    AND d.request_id IN (
      SELECT r.request_id FROM agentguard.enforcements AS r WHERE r.code = 'denied_at_gateway'));

CREATE VIEW IF NOT EXISTS agentguard.agents AS SELECT * FROM agentguard.agents_all FINAL;

CREATE VIEW IF NOT EXISTS agentguard.tools AS SELECT * FROM agentguard.tools_all FINAL;

-- `in_force` is the enforced release of the greatest sequence, whether or not it has expired.
CREATE VIEW IF NOT EXISTS agentguard.policies AS
SELECT *, mode = 'enforce' AND sequence = (
  SELECT max(sequence) FROM agentguard.policies_all WHERE mode = 'enforce') AS in_force
FROM agentguard.policies_all FINAL;

-- Grants and what became of them, as far as sealed records say; whether one may be used now is the
-- token service's answer.
CREATE VIEW IF NOT EXISTS agentguard.tokens AS
WITH
  used AS (
    SELECT tenant, request_partition, request_offset, min(offset) AS at,
      argMin(redeemer, offset) AS redeemer, argMin(event_time, offset) AS used_at
    FROM agentguard.redemptions GROUP BY tenant, request_partition, request_offset
  ),
  repeated AS (
    SELECT tenant, source_partition, retry_of AS request_offset,
      min(source_offset) AS at
    FROM agentguard.decisions_all WHERE counts AND retry_of >= 0
    GROUP BY tenant, source_partition, request_offset
  )
SELECT d.tenant AS tenant, d.agent_id AS agent_id, d.grant_hash AS token_hash,
  d.request_id AS request_id, d.tool AS tool, d.grant_details AS authorization_details,
  d.scopes AS scopes, d.decided_at AS issued_at, d.grant_expires AS expires_at,
  multiIf(
    u.redeemer != '' AND (v.at = 0 OR u.at < v.at), 'used',
    v.at != 0, 'void',
    d.grant_expires <= now64(3), 'expired',
    'issued') AS status,
  u.redeemer AS redeemer, u.used_at AS used_at,
  d.source_partition AS partition, d.source_offset AS request_offset
FROM agentguard.decisions AS d
LEFT JOIN used AS u ON u.tenant = d.tenant
  AND u.request_partition = d.source_partition AND u.request_offset = d.source_offset
LEFT JOIN repeated AS v ON v.tenant = d.tenant
  AND v.source_partition = d.source_partition AND v.request_offset = d.source_offset
WHERE d.grant_hash != '';

CREATE VIEW IF NOT EXISTS agentguard.compliance_mappings AS
SELECT * FROM agentguard.compliance_mappings_all FINAL;
