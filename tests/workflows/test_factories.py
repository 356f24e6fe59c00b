"""What the factories promise in their docstrings is what they build."""

import inspect
import re
from importlib.metadata import requires
from pathlib import Path

import attrs
import nibabel
import pytest
import yaml
from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface

import niflow.dmri7t as package
from dmri7t.interfaces.collect import Collect
from dmri7t.models.bundle import model_checksum
from dmri7t.models.config import read_config
from dmri7t.settings import Settings
from niflow.dmri7t import plan_scan


@pytest.fixture(scope="module")
def model(tiny_model):
    return read_config(tiny_model)


@pytest.fixture(scope="module")
def plan(make_scan, tiny_model, tmp_path_factory):
    settings = Settings(str(tiny_model), "tiny", "0", model_checksum(tiny_model), 2, 2)
    scan = make_scan(tmp_path_factory.mktemp("in"), shells={1000: 16, 2000: 12})
    return plan_scan(scan, settings)


def factories(plan, model):
    return [
        (package.init_shell_wf, (plan, plan.translated[0])),
        (package.init_measure_wf, (plan, model)),
        (package.init_outputs_wf, (plan, model)),
        (package.init_scan_wf, (plan, model)),
    ]


def test_spec_names_every_factory():
    spec = yaml.safe_load((Path(__file__).parents[2] / "workflows/spec.yml").read_text())
    assert set(spec["workflows"]) == {name for name in package.__all__ if "init_" in name}
    assert all((Path(__file__).parents[2] / folder).is_dir() for folder in spec["tests"])
    requirements = {r.partition(">")[0] for r in requires("dmri7t") if "extra ==" not in r}
    assert set(spec["requirements"]["packages"]) - {"dmri7t"} <= requirements


def section(doc, title):
    """Names that a section of a numpy-style docstring describes."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", doc, re.S | re.M)
    lines = found.group(1).splitlines() if found else []
    heads = [line for line in lines if line and not line.startswith(" ")]
    return [name.strip() for head in heads for name in head.split(":")[0].split(",")]


def test_docstrings_hold(plan, model):
    for factory, arguments in factories(plan, model):
        workflow = factory(*arguments)
        doc = inspect.getdoc(factory)
        assert "Workflow Graph" in doc, factory
        for node, title in (("inputnode", "Inputs"), ("outputnode", "Outputs")):
            fields = workflow.get_node(node).interface._fields
            assert sorted(section(doc, title)) == sorted(fields), (factory.__name__, title)
        parameters = list(inspect.signature(factory).parameters)
        assert section(doc, "Parameters") == parameters or set(parameters) - {"name"} <= set(
            section(doc, "Parameters")
        ), factory.__name__


def test_every_connected_input_is_mandatory(plan, model):
    workflow = package.init_scan_wf(plan, model)
    graph = workflow._create_flat_graph()
    checked = 0
    for _, node, data in graph.edges(data=True):
        # Collect looks after its inputs itself
        if isinstance(node.interface, (IdentityInterface, Collect)):
            continue
        for _, field in data["connect"]:
            assert node.inputs.trait(field).mandatory, f"{node.fullname}.{field}"
            checked += 1
    assert checked > 40


def test_nodes_declare_memory_and_threads(plan, model):
    workflow = package.init_scan_wf(plan, model, omp_nthreads=2)
    nodes = [workflow.get_node(name) for name in workflow.list_node_names()]
    alone = [n for n in nodes if n.name in ("diffuse", "harmonize")]
    paired = ("represent", "weigh", "filter", "encode", "quality", "tensor_generated", "compress")
    paired = [n for n in nodes if n.name in paired]
    assert len(alone) == 3 and len(paired) == 11
    for heavy, threads in ((alone, 2), (paired, 1)):
        assert all(node.n_procs == threads and node.mem_gb > 0.25 for node in heavy)
        assert all(node.inputs.num_threads == threads for node in heavy)


def test_gpu_nodes_count_as_one_processor(plan):
    shell, on_gpu = plan.translated[0], attrs.evolve(plan.settings, device="cuda")
    workflow = package.init_shell_wf(attrs.evolve(plan, settings=on_gpu), shell, omp_nthreads=8)
    for name in ("encode", "diffuse", "decode", "super_resolve"):
        node = workflow.get_node(name)
        assert node.n_procs == 1 and node.is_gpu_node()
    on_cpu = package.init_shell_wf(plan, shell, omp_nthreads=8)
    assert not on_cpu.get_node("encode").is_gpu_node()


def test_no_folder_is_hashed(plan, model):
    workflow = package.init_scan_wf(plan, model)
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if isinstance(node.interface, IdentityInterface):
            continue
        # not trait(): once Nipype has asked for one that is not there, it answers all the same
        own = node.inputs.copyable_trait_names()
        for field in ("out_dir", "model", "device", "num_threads", "use_gpu", "low_mem"):
            assert field not in own or node.inputs.trait(field).nohash, f"{name}.{field}"


def test_workflows_are_drawn(plan, tmp_path):
    workflow = package.init_shell_wf(plan, plan.translated[0])
    assert isinstance(workflow, Workflow)
    workflow.base_dir = str(tmp_path)
    text = tmp_path / "graph.dot"
    workflow.write_hierarchical_dotfile(str(text))
    assert "super_resolve" in text.read_text()


def test_plan_reads_headers_only(make_scan, tiny_model, tmp_path):
    settings = Settings(str(tiny_model), "tiny", "0", "0" * 64, 2, 2)
    scan = make_scan(tmp_path)
    content = scan.dwi.read_bytes()
    scan.dwi.write_bytes(content[:4000])
    plan = plan_scan(scan, settings)
    assert plan.n_volumes == 18 and plan.translated[0].name == "b1000"
    assert plan.grid.shape == nibabel.load(scan.dwi).shape[:3]
    assert plan.tensor_volumes == list(range(18))
