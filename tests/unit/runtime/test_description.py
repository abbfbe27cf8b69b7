"""A cluster's file: what fits, and the sentence for what does not."""

import pytest

from sensorium.errors import UserError
from sensorium.runtime.description import Node, Ports, read


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        return path

    return write


def test_all_that_can_be_said_is_read(file):
    found = read(
        file(
            "name: lab-2\nports: {control: 7000, dashboard: 7001, client: 7002}\n"
            "nodes: [{cpus: 4, gpus: 1, resources: {disk: 2.0}, object_store: 100}, {}]"
        )
    )
    assert found.name == "lab-2"
    assert found.nodes == [Node(cpus=4, gpus=1, resources={"disk": 2.0}, object_store=100), Node(cpus=1)]
    assert found.ports == Ports(control=7000, dashboard=7001, client=7002)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nnodes: []", "at least one"),
        ("name: a b\nnodes: [{}]", "letters, digits and hyphens"),
        ("name: ../up\nnodes: [{}]", "letters, digits and hyphens"),
        ("nodes: [{}]", "name"),
        ("name: a\nnodes: [{cpu: 2}]", "There is no option 'cpu'.*Did you mean 'cpus'?"),
        ("name: a\nnodes: [{cpus: two}]", r"nodes\.0\.cpus: Input should be a valid integer"),
        ("name: a\nnodes: [{cpus: -1}]", "no less than nothing"),
        ("name: a\nnodes: [{}]\nports: {dashbord: 1}", "Did you mean 'dashboard'?"),
        ("name: a\nnodes: [{}]\nports: {control: 7000, dashboard: 7000}", "ports must differ"),
        ("name: a\nnodes: [{}]\nport: 1", "Did you mean 'ports'?"),
        ("- a", "is not a description of a cluster"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_is_a_sentence(file, text, said):
    with pytest.raises(UserError, match=said):
        read(file(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml' cannot be read: No such file"):
        read(tmp_path / "nowhere.yaml")
