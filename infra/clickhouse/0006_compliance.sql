-- SPDX-License-Identifier: Apache-2.0
-- What a code of ours is evidence for. One row a key is kept, the greatest `rev`; a later migration or
-- an operator with INSERT adds rows of its own. Each query runs as it stands at the read-only door.

INSERT INTO agentguard.compliance_mappings_all
  (framework, control, code, rev, title, evidence_query)
VALUES
  ('OWASP LLM Top 10 2025', 'LLM01', 'injected_instruction', 1, 'Prompt injection',
   'SELECT src_time, agent_id, tool, reason FROM decisions WHERE code = ''injected_instruction'' ORDER BY src_time'),
  ('OWASP LLM Top 10 2025', 'LLM03', 'tool_changed', 1, 'Supply chain',
   'SELECT src_time, agent_id, tool, reason FROM decisions WHERE code = ''tool_changed'' ORDER BY src_time'),
  ('OWASP LLM Top 10 2025', 'LLM06', 'unknown_tool', 1, 'Excessive agency',
   'SELECT tool, code, count() AS denied FROM decisions WHERE code IN (''unknown_tool'', ''tool_not_enabled'', ''no_rule_permits'', ''not_asked'') GROUP BY tool, code ORDER BY denied DESC'),
  ('OWASP LLM Top 10 2025', 'LLM06', 'value_not_accounted_for', 1, 'Excessive agency',
   'SELECT src_time, agent_id, tool, reason FROM decisions WHERE code = ''value_not_accounted_for'' ORDER BY src_time'),
  ('OWASP LLM Top 10 2025', 'LLM10', 'rate_limit', 1, 'Unbounded consumption',
   'SELECT toStartOfHour(src_time) AS hour, agent_id, count() AS denied FROM decisions WHERE code IN (''rate_limit'', ''spend_limit'') GROUP BY hour, agent_id ORDER BY hour'),
  ('EU AI Act', 'Article 12', '', 1, 'Record-keeping: events are recorded automatically over the lifetime',
   'SELECT topic, partition, min(offset) AS first, max(offset) AS last, max(offset) - min(offset) + 1 - uniqExact(offset) AS missing FROM decisions_all GROUP BY topic, partition ORDER BY partition'),
  ('EU AI Act', 'Article 14', 'approval_required', 1, 'Human oversight: a person can decide not to use, override or stop',
   'SELECT type, accepted, signers, event_time FROM control_commands WHERE type IN (''Kill'', ''Lift'') ORDER BY event_time'),
  ('EU AI Act', 'Article 15', 'injected_instruction', 1, 'Accuracy, robustness and cybersecurity',
   'SELECT risk, verdict, count() AS calls FROM decisions GROUP BY risk, verdict ORDER BY calls DESC'),
  ('EU AI Act', 'Article 19', '', 1, 'Automatically generated logs are kept',
   'SELECT min(log_time) AS since, max(log_time) AS until, count() AS records FROM requests'),
  ('ISO/IEC 42001:2023', 'A.6.2.8', '', 1, 'AI system recording of event logs',
   'SELECT toDate(src_time) AS day, count() AS decisions, countIf(verdict = ''deny'') AS denied FROM decisions GROUP BY day ORDER BY day'),
  ('NIST AI RMF 1.0', 'MEASURE 2.7', 'injected_instruction', 1, 'Security and resilience are evaluated and documented',
   'SELECT tool, code, count() AS denied FROM decisions WHERE verdict = ''deny'' GROUP BY tool, code ORDER BY denied DESC'),
  ('NIST AI RMF 1.0', 'MANAGE 4.1', 'killed', 1, 'Post-deployment monitoring, override and decommissioning',
   'SELECT event_time, type, scope, signers, accepted, rejection FROM control_commands ORDER BY offset');
