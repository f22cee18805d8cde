"""The jars of Apache Kafka: fetched once from Maven Central, then kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from .model import KAFKA_VERSION, Options, ServersError

KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# kafka_2.13 names no logging backend, and without one every fault of the broker is silent. Taken alone: resolved
# together with Kafka, the versions that log4j's own parent wishes for would replace Kafka's.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"


def kafka_class_path(options: Options) -> str:
    """The class path of Kafka; touches the network only when the cache does not hold the jars yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patient-upsert"
    jars = cache / f"kafka-{KAFKA_VERSION}"
    if not jars.exists():  # it is moved into place when complete, so existing means complete
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with (cache / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes one fetches, the others wait for it
                if not jars.exists():
                    options.say(f"fetching Apache Kafka {KAFKA_VERSION} from Maven Central, once (42 MB)")
                    _fetch(cache, jars)
        # requests' errors are OSErrors; jgo raises the others for what it cannot find, parse or read
        except (OSError, RuntimeError, ValueError, ElementTree.ParseError, zipfile.BadZipFile) as error:
            raise ServersError(
                f"the jars of Apache Kafka could not be fetched ({type(error).__name__}: {_one_line(error)}); "
                "behind a TLS proxy set REQUESTS_CA_BUNDLE to its certificates, or use SERVERS=docker"
            ) from error
    return str(jars / "*")


def _fetch(cache: Path, jars: Path) -> None:
    from jgo.maven import MavenContext  # half a second, and needed once

    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache) as scratch:
        # A repository of our own, not ~/.m2: jgo would take a file that an interrupted download left there for whole.
        maven = MavenContext(repo_cache=Path(scratch) / "repository")
        inputs, transitive = maven.resolver.resolve([maven.create_dependency(KAFKA)])
        kafka = [found for found in [*inputs, *transitive] if found.scope in (None, "compile", "runtime")]
        complete = Path(scratch) / "jars"
        complete.mkdir()
        for dependency in [*kafka, maven.create_dependency(LOGGING)]:
            jar = dependency.artifact.resolve()
            if not zipfile.is_zipfile(jar):
                raise zipfile.BadZipFile(f"{jar.name} is not a jar")
            shutil.move(jar, complete)
        complete.rename(jars)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]  # urllib3 puts the cause last
