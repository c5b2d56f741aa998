# SPDX-License-Identifier: Apache-2.0
"""Decides requests in one lane: reads them, folds the log, writes each decision next to it."""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256

from agentguard import __version__
from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mapped_file import map_file
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.policy_engines import engine_maker
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.bounds import CONTROL_END_ASK_MS
from agentguard.config import load_settings
from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.records import Role
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.pipeline.clock_check import ClockCheck, heartbeats_from_now
from agentguard.pipeline.control_feed import CONTROL_START, ControlFeed
from agentguard.pipeline.dead_letters import DeadLetters
from agentguard.pipeline.heartbeats import Heartbeats, ProcessIdentity
from agentguard.pipeline.lane import Lane, LaneName, LanePorts
from agentguard.pipeline.poison import NOTES_BYTES, PoisonNotes
from agentguard.pipeline.releases import BUNDLES, Releases
from agentguard.pipeline.runner import beside, configure_logging, run, stop_on_signals
from agentguard.pipeline.topology import LANES


def main() -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lane", choices=LANES, default="a")
    arguments.add_argument("--worker", default="0", help="tells members of one lane apart")
    asked = arguments.parse_args()
    settings = load_settings()
    configure_logging(settings.log_level)
    clock, codec = SystemClock(), AvroCodec()
    name = f"decide-{asked.lane}-{asked.worker}"
    log = KafkaLog(
        settings.kafka.bootstrap,
        username=settings.kafka.username,
        password=settings.kafka.password,
        client_id=f"decide-{asked.lane}",
        settings=settings.kafka.client_settings(),
    )
    fold = ControlFold(codec, MlDsaVerifier(), settings.genesis_digest)
    control = ControlFeed(log.reader(CONTROL_START), log, fold, clock)
    writer = log.writer(name)
    letters = DeadLetters(writer, codec, clock, SystemEntropy(), stage="decide")
    letters.cluster = settings.cluster
    letters.partitions = log.partitions(Topic.DEAD_LETTERS)
    identity = ProcessIdentity(
        cluster=settings.cluster,
        process=f"decide-{asked.lane}-{asked.worker}",
        role=Role.DECIDE,
        build=__version__,
        config_digest=sha256(settings.policy_engine.encode()).digest(),
    )
    ports = LanePorts(
        log=log,
        index=log,
        codec=codec,
        clock=clock,
        writer=writer,
        control=control,
        releases=Releases(
            log.reader({BUNDLES: 0}),
            codec,
            engine_maker(settings.policy_engine),
            cluster=settings.cluster,
            letters=letters,
        ),
        heartbeats=Heartbeats(writer, codec, clock, identity),
        letters=letters,
        clock_check=ClockCheck(
            log.reader(heartbeats_from_now(log)), codec, clock, process=identity.process
        ),
        notes=PoisonNotes(map_file(settings.data / "decide" / f"{name}.notes", NOTES_BYTES)),
    )
    lane = Lane(LaneName(cluster=settings.cluster, lane=asked.lane, worker=asked.worker), ports)
    stop = stop_on_signals()
    beside(control.ask_end, every_ms=CONTROL_END_ASK_MS, stop=stop)
    return run(lane.step, close=lane.close, stop=stop)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AgentGuardError as error:
        sys.exit(f"{error.code}: {error}\n  next: {error.next_step}")
