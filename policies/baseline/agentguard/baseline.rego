# SPDX-License-Identifier: Apache-2.0
# The baseline release: what every call is judged by. cedar/baseline.cedar says the same, and one
# table (policies/cases) holds both to it. Nothing is permitted by default. A rule that permits
# names its whole condition, so a mistake in a rule that denies cannot let a call through alone.
package agentguard.baseline

out := {"allow": allow, "deny": deny, "obligations": obligations, "scopes": scopes}

# words ------------------------------------------------------------------------------------------

reads if input.action.properties.side_effect == "read"

acts if input.action.properties.side_effect != "read"

approval := {"approval": "agent-owner"}

# Nobody hostile can have supplied a value that is found nowhere, because nothing untrusted was
# read. Still only a plain write: a wrong payee or addressee cannot be taken back.
derived if {
	input.action.properties.side_effect == "write"
	input.context.history.untrusted_read == false
	input.context.history.incomplete == false
	input.context.provenance.incomplete == false
}

underived if input.action.properties.side_effect != "write"

underived if input.context.history.untrusted_read == true

underived if input.context.history.incomplete == true

underived if input.context.provenance.incomplete == true

# what is permitted ------------------------------------------------------------------------------

allow contains "baseline.read" if {
	reads
	input.context.classification.risk_ord <= 1
}

allow contains "baseline.asked" if {
	acts
	input.context.provenance.asked_by_task == true
	input.context.provenance.decisive_ord <= 1
	input.context.classification.risk_ord <= 1
}

# The task names the source, and the value does not lie in a sentence addressed to the agent.
allow contains "baseline.named_source" if {
	acts
	input.context.provenance.asked_by_task == true
	input.context.provenance.decisive == "untrusted"
	input.context.provenance.decisive_addressed == false
	input.context.provenance.source_named_by_task == true
	input.context.classification.risk_ord <= 1
}

allow contains "baseline.derived" if {
	input.context.provenance.asked_by_task == true
	input.context.provenance.decisive == "nowhere"
	derived
	input.context.classification.risk_ord <= 1
}

allow contains "baseline.approved" if {
	reads
	input.context.approval.state == "approved"
	input.context.classification.risk_ord <= 2
}

allow contains "baseline.approved_act" if {
	acts
	input.context.approval.state == "approved"
	input.context.classification.risk_ord <= 2
}

# what is denied ---------------------------------------------------------------------------------

deny contains {
	"id": "baseline.kill",
	"code": "killed",
	"reason": "a kill command is in force",
	"severity": "critical",
	"controls": ["ASI10"],
} if {
	input.context.controls.kill_switch == true
}

deny contains {
	"id": "baseline.tenant",
	"code": "tenant_mismatch",
	"reason": "the tool belongs to another tenant",
	"severity": "critical",
	"controls": ["ASI03"],
} if {
	input.subject.properties.tenant != input.resource.properties.tenant
}

deny contains {
	"id": "baseline.unattested",
	"code": "agent_unattested",
	"reason": "the agent's attestation has failed",
	"severity": "high",
	"controls": ["ASI03", "ASI04"],
} if {
	input.subject.properties.attestation == "failed"
}

deny contains {
	"id": "baseline.unregistered",
	"code": "unknown_tool",
	"reason": "the tool is not registered",
	"severity": "high",
	"controls": ["ASI02", "ASI04"],
} if {
	input.action.properties.registered == false
}

deny contains {
	"id": "baseline.risk_critical",
	"code": "critical_risk",
	"reason": "the risk of the call is critical",
	"severity": "high",
	"controls": ["ASI02"],
} if {
	input.context.classification.risk_ord == 3
}

deny contains {
	"id": "baseline.machine_credentials",
	"code": "policy_denied",
	"reason": "the call goes to the address that hands out a machine's credentials",
	"severity": "high",
	"controls": ["ASI03"],
} if {
	input.context.facts.destination == "metadata"
}

deny contains {
	"id": "baseline.rate",
	"code": "rate_limit",
	"reason": "more than 600 calls in a minute",
	"severity": "medium",
	"controls": ["ASI02", "ASI08"],
} if {
	input.context.history.calls_1m > 600
}

deny contains {
	"id": "baseline.untrusted_instruction",
	"code": "injected_instruction",
	"reason": "an untrusted output asks for this operation and the task does not",
	"severity": "critical",
	"controls": ["ASI01", "ASI02"],
} if {
	acts
	input.context.provenance.asked_by_task == false
	input.context.provenance.instructed_by == "untrusted"
}

deny contains {
	"id": "baseline.untrusted_value",
	"code": "injected_instruction",
	"reason": "a deciding value comes only from an untrusted sentence addressed to the agent",
	"severity": "critical",
	"controls": ["ASI01", "ASI06"],
} if {
	acts
	input.context.provenance.decisive_addressed == true
}

# what a person is asked about -------------------------------------------------------------------

deny contains {
	"id": "baseline.risk_high",
	"code": "approval_required",
	"reason": "the risk of the call is high",
	"severity": "medium",
	"controls": ["ASI02"],
	"remedy": approval,
} if {
	input.context.classification.risk_ord == 2
	input.context.approval.state != "approved"
}

deny contains {
	"id": "baseline.not_asked",
	"code": "not_asked",
	"reason": "the task does not ask for this operation",
	"severity": "high",
	"controls": ["ASI01", "ASI10"],
	"remedy": approval,
} if {
	acts
	input.context.provenance.asked_by_task == false
	input.context.provenance.instructed_by != "untrusted"
	input.context.approval.state != "approved"
}

deny contains {
	"id": "baseline.value_untrusted",
	"code": "value_not_accounted_for",
	"reason": "a deciding value comes from an untrusted output that the task does not name",
	"severity": "high",
	"controls": ["ASI01", "ASI06"],
	"remedy": approval,
} if {
	acts
	input.context.provenance.asked_by_task == true
	input.context.provenance.decisive == "untrusted"
	input.context.provenance.decisive_addressed == false
	input.context.provenance.source_named_by_task == false
	input.context.approval.state != "approved"
}

deny contains {
	"id": "baseline.value_nowhere",
	"code": "value_not_accounted_for",
	"reason": "a deciding value appears neither in the task nor in any output",
	"severity": "high",
	"controls": ["ASI01", "ASI02"],
	"remedy": approval,
} if {
	acts
	input.context.provenance.asked_by_task == true
	input.context.provenance.decisive == "nowhere"
	underived
	input.context.approval.state != "approved"
}

# A read that only an untrusted output wants may gather what a later call would carry away.
deny contains {
	"id": "baseline.read_instructed",
	"code": "not_asked",
	"reason": "an untrusted output asks for this read and the task does not",
	"severity": "medium",
	"controls": ["ASI01"],
	"remedy": approval,
} if {
	reads
	staged
	input.context.classification.risk_ord >= 1
	input.context.approval.state != "approved"
}

staged if {
	input.context.provenance.asked_by_task == false
	input.context.provenance.instructed_by == "untrusted"
}

staged if input.context.provenance.decisive_addressed == true

# what comes with a permit -----------------------------------------------------------------------

scopes contains concat(":", [input.action.name, input.action.properties.operation]) if {
	some _ in allow
}

obligations contains {"type": "log.full", "properties": {}} if {
	acts
	some _ in allow
}
