"""What tests of SCEP have beside their house: devices, and upstream CAs."""

import pytest
from conftest import house_end
from scep import Fleet
from scep_device import UpstreamCa, activation_house, challenges_serve, served_end, working_profile


@pytest.fixture(scope="module")
def fleet(house):
    made = Fleet(house)
    yield made
    made.close()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """The CA of somebody else: a second daemon with a store and keys of its own."""
    made = activation_house(tmp_path_factory)
    working_profile(made, "default2")
    yield made
    house_end(made)


@pytest.fixture(scope="module")
def challenges(upstream):
    server = challenges_serve(upstream)
    yield server
    served_end(server)


@pytest.fixture(scope="module")
def ca(house, tmp_path_factory):
    made = UpstreamCa(house, tmp_path_factory.mktemp("upstream"))
    yield made
    made.close()
