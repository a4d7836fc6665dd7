"""vLLM generates on the GPU what the same made-up model generates on the CPU.

needs: gpu
seconds: 600
applies: cuda
"""

import importlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _verdict

PROMPTS = ([1, 17, 42, 99, 7], [3, 250, 8])
LENGTH = 12  # of what is generated
MODEL = {
    "vocab_size": 256,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,  # wide, so that the likeliest token stands out
    "tie_word_embeddings": False,
}

Generate = Callable[[Path, Sequence[Sequence[int]]], list[list[int]]]


class Machine(NamedTuple):
    """The sources of the check: GPUs by the driver, a model's maker, CPU and GPU generation."""

    look: Callable[[], _gpu.Sight]
    make: Callable[[Path], None]
    on_cpu: Generate
    on_gpu: Generate


def make_model(folder: Path) -> None:
    """Write a Llama with random weights, always the same ones."""
    torch, transformers = map(importlib.import_module, ("torch", "transformers"))
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**MODEL))
    model.save_pretrained(folder)


def generate_on_cpu(folder: Path, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the likeliest tokens by transformers, in float32."""
    torch, transformers = map(importlib.import_module, ("torch", "transformers"))
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for prompt in prompts:
        tokens = list(prompt)
        for _ in range(LENGTH):
            with torch.no_grad():
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        answers.append(tokens[len(prompt) :])
    return answers


def generate_on_gpu(folder: Path, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the likeliest tokens by vLLM, in float32 and without a tokenizer."""
    vllm = importlib.import_module("vllm")
    engine = vllm.LLM(
        model=str(folder),
        dtype="float32",
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=64,
        gpu_memory_utilization=0.3,
    )
    greedy = vllm.SamplingParams(
        temperature=0, max_tokens=LENGTH, ignore_eos=True, detokenize=False
    )
    asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    return [list(answer.outputs[0].token_ids) for answer in engine.generate(asked, greedy)]


def main(machine: Machine) -> None:
    gpus = _gpu.require(machine.look())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine.make(folder)
        expected = machine.on_cpu(folder, PROMPTS)
        generated = machine.on_gpu(folder, PROMPTS)
    _verdict.show(device=gpus[0].name, expected=expected, generated=generated)
    variety = {token for answer in expected for token in answer}
    _verdict.demand(
        len(variety) > 1, f"the model repeats one token, which proves nothing: {variety}"
    )
    _verdict.demand(generated == expected, f"generated {generated}, and the CPU {expected}")


if __name__ == "__main__":
    main(Machine(_gpu.look, make_model, generate_on_cpu, generate_on_gpu))
