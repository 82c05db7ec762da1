"""What the tests share: gateways that end with their test, and whose log is shown when it fails; receivers of their webhooks."""

import pytest

from gateway import BINARY, Gateway
from receiver import Receiver


def pytest_configure(config):
    if not BINARY.is_file():
        pytest.exit(f"there is no {BINARY}: build it with `cargo build --release`, or name it as TIDEGATE_BINARY", 2)


@pytest.fixture
def make_gateway(tmp_path, request):
    """Makes gateways, each in a folder of its own; not started."""
    made = []

    def make(**options):
        folder = options.pop("folder", tmp_path / f"gateway-{len(made)}")
        made.append(Gateway(folder, **options))
        return made[-1]

    request.node.gateways = made
    yield make
    for gateway in made:
        gateway.end()


@pytest.fixture
def gateway(make_gateway):
    """A running gateway with the configuration of the repository."""
    return make_gateway().start()


@pytest.fixture
def make_receiver():
    """Starts receivers of webhooks. Each has to have taken all that came for genuine, unless the test looks at what it refused, and takes it
    out of the list."""
    made = []

    def make(**options):
        made.append(Receiver(**options).start())
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()
    assert [(receiver.refused, receiver.errors) for receiver in made if receiver.refused or receiver.errors] == []


@pytest.fixture
def receiver(make_receiver):
    return make_receiver()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for gateway in getattr(item, "gateways", []):
            if gateway.log.exists():
                report.sections.append((f"log of {gateway.folder}", gateway.log_tail()))
    return report
