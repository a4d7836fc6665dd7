"""Names of GPUs as nvidia-smi, clouds and people write them, and of other makers' accelerators."""

import pytest

from dlimg.errors import BadInput
from dlimg.facts.load import ONLY_NVIDIA
from dlimg.facts.model import GpuFact
from dlimg.pipeline.facts_files import read_facts

FACTS = read_facts()

SPELLINGS: list[tuple[str, str, str]] = [
    # nvidia-smi
    ("Tesla V100-SXM2-16GB", "V100", "7.0"),
    ("Tesla V100S-PCIE-32GB", "V100", "7.0"),
    ("Tesla V100-DGXS-32GB", "V100", "7.0"),
    ("Tesla P100-PCIE-16GB", "P100", "6.0"),
    ("Tesla P4", "P4", "6.1"),
    ("Tesla P40", "P40", "6.1"),
    ("Tesla M10", "M10", "5.0"),
    ("Tesla M4", "Tesla M4", "5.2"),
    ("NVIDIA L20", "L20", "8.9"),
    ("NVIDIA L2", "L2", "8.9"),
    ("NVIDIA H20", "H20", "9.0"),
    ("NVIDIA H20-3e", "H20", "9.0"),
    ("NVIDIA H800", "H800", "9.0"),
    ("NVIDIA H800 PCIe", "H800", "9.0"),
    ("NVIDIA H100 80GB HBM3", "H100", "9.0"),
    ("NVIDIA H100 NVL", "H100", "9.0"),
    ("NVIDIA H200 NVL", "H200", "9.0"),
    ("NVIDIA GH200 480GB", "GH200", "9.0"),
    ("NVIDIA B300 SXM6 AC", "B300", "10.3"),
    ("NVIDIA A800-SXM4-80GB", "A800", "8.0"),
    ("NVIDIA A800 40GB Active", "A800", "8.0"),
    ("NVIDIA A100-SXM-64GB", "A100", "8.0"),
    ("NVIDIA A100X", "A100X", "8.0"),
    ("NVIDIA A100 80GB PCIe MIG 3g.40gb+me", "A100", "8.0"),
    ("NVIDIA A10G", "A10", "8.6"),
    ("NVIDIA A16", "A16", "8.6"),
    ("NVIDIA RTX 5880 Ada Generation", "RTX 5880 Ada", "8.9"),
    ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "8.9"),
    ("NVIDIA RTX 5000 Ada Generation Laptop GPU", "RTX 5000 Ada", "8.9"),
    ("NVIDIA RTX 4000 SFF Ada Generation", "RTX 4000 SFF Ada", "8.9"),
    ("NVIDIA GeForce RTX 4090 D", "RTX 4090 D", "8.9"),
    ("NVIDIA GeForce RTX 5090 D", "RTX 5090 D", "12.0"),
    ("NVIDIA GeForce RTX 5090 D v2", "RTX 5090 D", "12.0"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090", "8.9"),
    ("NVIDIA GeForce GTX 1080 with Max-Q Design", "GTX 1080", "6.1"),
    ("NVIDIA GeForce GT 1030", "GT 1030", "6.1"),
    ("NVIDIA GeForce MX350", "MX350", "6.1"),
    ("NVIDIA GeForce RTX 3070 Ti", "RTX 3070 Ti", "8.6"),
    ("NVIDIA GeForce RTX 2050", "RTX 2050", "8.6"),
    ("NVIDIA CMP 170HX", "CMP 170HX", "8.0"),
    ("P106-100", "P106-100", "6.1"),
    ("Quadro T2000", "Quadro T2000", "7.5"),
    ("NVIDIA RTX A4500", "RTX A4500", "8.6"),
    ("NVIDIA RTX A400", "RTX A400", "8.6"),
    (
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "RTX PRO 6000 Blackwell Server Edition",
        "12.0",
    ),
    ("NVIDIA RTX PRO 3000 Blackwell Generation Laptop GPU", "RTX PRO 3000 Blackwell", "12.0"),
    # vGPU, Kubernetes, clouds
    ("GRID A100D-80C", "A100", "8.0"),
    ("GRID P40-24Q", "P40", "6.1"),
    ("GRID A100-7-40C", "A100", "8.0"),
    ("NVIDIA H100-1-10C", "H100", "9.0"),
    ("GRID T4-16Q", "T4", "7.5"),
    ("Tesla-V100-SXM2-32GB-SHARED", "V100", "7.0"),
    ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "A100", "8.0"),
    ("nvidia-tesla-t4", "T4", "7.5"),
    ("nvidia-tesla-p100-vws", "P100", "6.0"),
    ("nvidia-l4-vws", "L4", "8.9"),
    ("nvidia-h100-mega-80gb", "H100", "9.0"),
    ("gpu_1x_h100_pcie", "H100", "9.0"),
    ("8x A100 (40 GB SXM4)", "A100", "8.0"),
    ("DGX B200", "B200", "10.0"),
    ("HGX H100", "H100", "9.0"),
    ("RTX 6000Ada", "RTX 6000 Ada", "8.9"),
    ("RTX PRO 6000 WS", "RTX PRO 6000 Blackwell Workstation Edition", "12.0"),
    ("RTX PRO 6000 S", "RTX PRO 6000 Blackwell Server Edition", "12.0"),
    ("RTX PRO 5000", "RTX PRO 5000 Blackwell", "12.0"),
    ("Q RTX 8000", "Quadro RTX 8000", "7.5"),
    ("DGX Spark", "GB10", "12.1"),
    ("Jetson Orin Nano Super", "Jetson Orin Nano", "8.7"),
    ("Jetson AGX Orin 64GB", "Jetson AGX Orin", "8.7"),
    ("DRIVE Thor", "Jetson T5000", "11.0"),
]

OTHER_MAKERS: list[tuple[str, str]] = [
    ("MI300X", "an AMD GPU"),
    ("AMD Instinct MI250", "an AMD GPU"),
    ("gfx942", "an AMD GPU"),
    ("Radeon RX 7900 XTX", "an AMD GPU"),
    ("RX 7900", "an AMD GPU"),
    ("V620", "an AMD GPU"),
    ("TPU v4", "a Google TPU"),
    ("v5e", "a Google TPU"),
    ("v5litepod-16", "a Google TPU"),
    ("v3-8", "a Google TPU"),
    ("910B", "a Huawei NPU"),
    ("Ascend 910B3", "a Huawei NPU"),
    ("昇腾", "a Huawei NPU"),
    ("昇腾 910B", "a Huawei NPU"),
    ("寒武纪", "a Cambricon accelerator"),
    ("摩尔线程 S4000", "a Moore Threads GPU"),
    ("海光 DCU", "a Hygon accelerator"),
    ("天数智芯", "an Iluvatar CoreX GPU"),
    ("Gaudi 2", "an Intel accelerator"),
    ("Arc A770", "an Intel GPU"),
    ("B580", "an Intel GPU"),
    ("Intel Data Center GPU Max 1550", "an Intel GPU"),
    ("M1", "an Apple GPU"),
    ("M4", "an Apple GPU"),
    ("M4 Max", "an Apple GPU"),
    ("Apple M2 Ultra", "an Apple GPU"),
    ("MLU370", "a Cambricon accelerator"),
    ("MTT S4000", "a Moore Threads GPU"),
    ("K100_AI", "a Hygon accelerator"),
    ("Z100", "a Hygon accelerator"),
    ("C500", "a MetaX GPU"),
    ("BI-V100", "an Iluvatar CoreX GPU"),
    ("BR100", "a Biren GPU"),
    ("P800", "a Kunlunxin accelerator"),
    ("trn1", "an AWS accelerator"),
    ("Groq LPU", "a Groq accelerator"),
    ("npu", "an integrated NPU"),
]


@pytest.mark.parametrize(("spelling", "name", "capability"), SPELLINGS)
def test_spellings_of_gpu_names(spelling: str, name: str, capability: str) -> None:
    gpu = FACTS.gpu(spelling)
    assert (gpu.name, gpu.capability) == (name, capability)


@pytest.mark.parametrize("gpu", FACTS.gpus.values(), ids=lambda gpu: gpu.name)
def test_every_gpu_is_found_by_its_names(gpu: GpuFact) -> None:
    for name in (gpu.name, *gpu.aliases):
        assert FACTS.gpu(name) is gpu
        assert FACTS.gpu(f"NVIDIA {name}") is gpu


@pytest.mark.parametrize(("name", "called"), OTHER_MAKERS)
def test_other_makers_are_named(name: str, called: str) -> None:
    with pytest.raises(BadInput) as caught:
        FACTS.gpu(name)
    (problem,) = caught.value.problems
    assert problem.message == f"{name} is {called}: {ONLY_NVIDIA}"
    assert "did you mean" not in problem.hint


def test_a_name_that_stands_for_two_gpus_is_not_guessed() -> None:
    with pytest.raises(BadInput, match="no facts about a GPU 'RTX 6000'"):
        FACTS.gpu("RTX 6000")


def test_the_cpu_is_no_gpu() -> None:
    with pytest.raises(BadInput, match="'cpu' is no GPU"):
        FACTS.gpu("cpu")
