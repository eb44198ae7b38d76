"""A corpus of planted secrets: none survives in a copy, whatever place of the report it stands in."""

# ruff: noqa: E501  (a pattern, or a text, is one line)

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from taxbreak_nsys.scrub import write_clean
from taxbreak_nsys.scrub.hardware_names import hardware_name
from taxbreak_nsys.scrub.private_texts import without_private, without_secrets
from tests.support.program import run_program
from tests.support.reports import find_report

# put together here, so that no scanner stumbles over this file
S = "Zq9" + "xW7vT"
"""A short secret without a form of its own: what stands around it says that it is one."""
FORMS = {
    "bearer": f"Bearer {S}", "bearer lower": f"x bearer {S} y", "authorization": f"authorization: {S}",
    "authorization bearer": f"Authorization: Bearer {S}", "authorization json": f'"Authorization": "Bearer {S}"',
    "proxy": f"Proxy-Authorization: Basic {S}{S}==", "option": f"--password {S}", "option =": f"--password={S}",
    "token option": f"run --hf-token {S} now", "quoted": f'PASSWORD "{S}"', "quoted single": f"password '{S}'",
    "key": f'key="{S}"', "key single": f"key = '{S}'", "key json": f'"key": "{S}"', "api key": f"api_key={S}",
    "api-key header": f"X-Api-Key: {S}", "env": f"AWS_SECRET_ACCESS_KEY={S}", "env token": f"WANDB_TOKEN={S}",
    "yaml": f"password: {S}", "json": f'{{"token": "{S}"}}', "arrow": f"secret => {S}", "passwd": f"passwd={S}",
    "passphrase": f"passphrase: {S}", "cookie": f"Cookie: {S}", "session": f"session_id={S}", "pwd": f"Pwd={S};Uid=x",
    "url": f"https://ann:{S}@git.example.com/x.git", "db": f"postgresql://u:{S}@db/x", "url user": f"redis://:{S}@h:6379",
    "github": "gh" + f"p_{S}", "gitlab": "glpat-" + S, "hugging face": "hf" + f"_{S}", "aws": "AK" + "IA" + "QZ7XPLW3RTM5VNK2",
    "openai": "s" + f"k-{S}", "slack": "xo" + f"xb-{S}", "jwt": "eyJ" + f"hbGciOi.{S}.x", "google": "AI" + f"za{S}",
    "nvidia": "nva" + f"pi-{S}", "key file": f"-----BEGIN RSA PRIVATE KEY-----\n{S}", "hex": "9f86d081884c7d65" * 2 + "9a2feaa0",
    "random": "kJ8sLq2ZpX9vRt4NwY7bMf3GhC6dTe1U" + "aQ5zSx0", "home": "/home/Zq9xW7vT", "home folder": "/home/Zq9xW7vT/run.py",
    "users": "/Users/Zq9xW7vT/m.py", "windows": "C:\\Users\\Zq9xW7vT\\m.py", "tilde": "~Zq9xW7vT/run.py", "share": "\\\\Zq9xW7vT\\x\\y",
    "file url": "file:///srv/Zq9xW7vT/x", "percent": "%2Fhome%2FZq9xW7vT%2Fm.py", "percent lower": "x%2fsrv%2fZq9xW7vT%2fm",
    "percent back": "C%3A%5CUsers%5CZq9xW7vT%5Cm.py", "deep": "/srv/a/Zq9xW7vT/b/c.py", "mail": "Zq9xW7vT@example.com",
    "mail odd": "Zq9xW7vT+x@mail-host", "host": "Zq9xW7vT.corp.internal", "host com": "Zq9xW7vT.example.com:8080",
    "host io": "api.Zq9xW7vT.io", "host url": "http://Zq9xW7vT:9000/v1", "grpc": "grpc://Zq9xW7vT",
}  # fmt: skip
ADDRESSES = ("10.11.12.13", "192.168.77.5:5000", "172.16.254.1", "fe80::1ff:fe23:4567:890a", "0a:1b:2c:3d:4e:5f",
             "fd12:3456:789a:1::1", "2001:db8:85a3:0:0:8a2e:370:7334")  # fmt: skip
PLAIN = (
    "decode_12", "aten::mm", "aten::mm, seq = 12", "void cutlass::Kernel2<cutlass_80_tensorop>(Params)", "a/b", "1/2",
    "execute_context_3(999)_generation_7(7)", "void at::native::vectorized_elementwise_kernel<4, at::native::f>(int)",
    "max_tokens=512", "tokens: 128", "token 5", "key_padding_mask", "model.layers.0.self_attn", "torch.nn.Linear",
    "nvjet_hsh_64x8_64x16_1x1_h_bz_TNT", "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x32", "basic block",
    "_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEEEEviT0_T1_", "jit(f)/transpose/dot",
    "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "authentic step", "secretary 1",
    "cutlassWmmaTensorOpS161616GemmF16NnAlign8", "[Executor] _forward_step 3: 1 ctx reqs, 4 ctx tokens, 2 gen reqs",
    "prefill: 12", "step 1.2.3", "2023.4.4.54", "Memcpy HtoD (Pageable -> Device)", "a.b", "sort::keys=3", "keyed=3",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_no_planted_secret_stays_in_a_text(form: str) -> None:
    text = FORMS[form]
    for around in (text, f"step {text}", f"{text} 3", f"a({text})"):
        clean = without_secrets(around)
        assert S not in clean, clean
        assert "QZ7XPLW3" not in clean
        assert "884c7d65" not in clean
        assert "kJ8sLq2Z" not in clean


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_stays_in_a_text(address: str) -> None:
    for around in (address, f"rank on {address}", f"({address})", f"to {address}, 3"):
        assert address[:9] not in without_secrets(around)
        assert without_secrets(around).count("removed") == 1


@pytest.mark.parametrize("text", PLAIN)
def test_plain_names_stay(text: str) -> None:
    assert without_private(text) == (text, {})


@pytest.mark.parametrize("names", [False, True])
def test_no_planted_secret_is_in_the_copy(names: bool, tmp_path: Path) -> None:
    """Every form in every place that a copy is made from: names, marks, threads, the machine's description."""
    source, copy = tmp_path / "r.sqlite", tmp_path / "clean.sqlite"
    source.write_bytes(find_report("gpt2-backtrace").read_bytes())
    host = "gpu" + "node-" + S
    texts = [*FORMS.values(), *ADDRESSES, f"on {host} 1", f"ann{S}ann"]
    with sqlite3.connect(source) as database:
        number = 90_000_000
        for at, text in enumerate(texts):
            for table, column in (("CUPTI_ACTIVITY_KIND_RUNTIME", "nameId"), ("CUPTI_ACTIVITY_KIND_KERNEL", "shortName"),
                                  ("CUPTI_ACTIVITY_KIND_KERNEL", "demangledName"), ("NVTX_EVENTS", "textId"),
                                  ("OSRT_API", "nameId"), ("ThreadNames", "nameId"), ("SAMPLING_CALLCHAINS", "symbol"),
                                  ("SAMPLING_CALLCHAINS", "module")):  # fmt: skip
                number += 1
                database.execute("INSERT INTO StringIds VALUES (?, ?)", (number, text))
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = (SELECT rowid FROM "{table}" LIMIT 1 OFFSET ?)',
                    (number, 3 * at),
                )
            database.execute(
                "UPDATE NVTX_EVENTS SET text = ? WHERE rowid = (SELECT rowid FROM NVTX_EVENTS LIMIT 1 OFFSET ?)",
                (text, 3 * at + 1),
            )
        database.execute("UPDATE TARGET_INFO_GPU SET name = 'NVIDIA H100 of ann at ' || ?", (S,))
        database.execute(
            "UPDATE TARGET_INFO_SYSTEM_ENV SET value = ? WHERE name = 'CpuDescription'", (f"Intel Xeon {S}",)
        )
        database.execute(
            "INSERT INTO TARGET_INFO_SYSTEM_ENV SELECT globalVid, devStateName, 'Hostname', nameEnum, ? FROM "
            "TARGET_INFO_SYSTEM_ENV LIMIT 1", (host,)
        )  # fmt: skip
        database.execute("INSERT INTO META_DATA_EXPORT VALUES ('EXPORT_USER', ?)", (f"ann{S}ann",))
    database.close()
    write_clean(source, copy, names=names)
    kept = copy.read_bytes()
    for secret in (S, "QZ7XPLW3", "884c7d65", "kJ8sLq2Z", *(a.partition(":")[0] for a in ADDRESSES[:3])):
        assert secret.encode() in source.read_bytes()
        assert secret.encode() not in kept, kept[kept.index(secret.encode()) - 60 :][:120]
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT name FROM TARGET_INFO_GPU").fetchall() == [("NVIDIA H100",)]


def test_hardware_names_stay() -> None:
    for name in ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "Tesla V100-SXM2-16GB", "NVIDIA GeForce RTX 4090",
                 "NVIDIA L40S", "NVIDIA GH200 480GB", "NVIDIA B200", "NVIDIA RTX 6000 Ada Generation", "Tesla T4",
                 "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "AMD EPYC 9654 96-Core Processor", "Neoverse-V2",
                 "INTEL(R) XEON(R) PLATINUM 8592+", "13th Gen Intel(R) Core(TM) i9-13900K"):  # fmt: skip
        if "+" not in name and "Gen" not in name:
            assert hardware_name(name) == name
    assert hardware_name("NVIDIA H100 of Ann, room 5b at Example Corp") == "NVIDIA H100 5b"
    assert hardware_name("/home/ann secret-token") == ""


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "a-",
        "a/",
        "/a",
        "a@",
        "1.",
        "1:",
        "::",
        "%2f",
        "password",
        "token ",
        'key="',
        "x=",
        "a_",
        "Bearer ",
        "A1b2",
        "\\",
        " ",
        "<a",
    ],
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    def took(length: int) -> float:
        text = unit * (length // len(unit))
        began = time.process_time()
        without_secrets(text)
        return time.process_time() - began

    took(1000)
    short, long = min(took(20_000) for _ in range(3)), min(took(80_000) for _ in range(2))
    assert long < 0.05 or long < 10 * short, (short, long)


def test_long_names_are_scrubbed_in_time(tmp_path: Path) -> None:
    source = tmp_path / "r.sqlite"
    source.write_bytes(find_report("llama-1b").read_bytes())
    with sqlite3.connect(source) as database:
        for n in range(300):
            name = ("ns::Part_" + "x" * (n % 40) + "<a/b.c-d=") * 300
            database.execute("INSERT INTO StringIds VALUES (?, ?)", (90_000_000 + n, name[:8000] + str(n)))
            database.execute(
                "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET demangledName = ? WHERE rowid = (SELECT rowid FROM "
                "CUPTI_ACTIVITY_KIND_KERNEL LIMIT 1 OFFSET ?)",
                (90_000_000 + n, n),
            )
    database.close()
    for options in ((), ("--names",)):
        began = time.monotonic()
        done = run_program("scrub", source, "-o", tmp_path / "c.sqlite", "--force-overwrite", *options)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 30
        assert "names kept:" in done.stderr
        assert "taken out of names:" in done.stderr
