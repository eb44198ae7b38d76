"""Kernels are classified and named by what their names say; a user's table comes first."""

from pathlib import Path

import pytest

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.kernel_classes import class_titles, classify
from taxbreak_nsys.model.kernel_names import base_name, short_name
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes

FLASH = "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::Mainloop<(int)2>>>>(T1)"
MUL = (
    "void at::native::vectorized_elementwise_kernel<(int)8, at::native::BinaryFunctor<c10::BFloat16, c10::BFloat16, "
    "c10::BFloat16, at::native::binary_internal::MulFunctor<float>>, std::array<char *, (unsigned long)3>>(int, T2, T3)"
)
NORM = (
    "std::enable_if<T2>(int)0&&vllm::_typeConvert<T1>::exists, void>::type "
    "vllm::fused_add_rms_norm_kernel<c10::BFloat16, (int)8, (bool)1>(T1 *, long, T1 *, const T1 *, float, int, int)"
)
ARGMAX = (
    "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::ArgMaxOps<float>, "
    "unsigned int, long, (int)4, (int)4>>(T3)"
)

CLASSES = {
    "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<(unsigned long)4096>)": "communication",
    "void vllm::cross_device_reduce_1stage<__nv_bfloat16, (int)2>(vllm::RankData *, int)": "communication",
    "void tensorrt_llm::kernels::twoShotAllReduceKernel<__half, (int)2>(T1)": "communication",
    "void deep_ep::internode_ll::dispatch<(bool)1, (int)7168>(void *)": "communication",
    "multimem_all_reduce_kernel": "communication",
    "nvshmemi_transfer_amo": "communication",
    FLASH: "attention",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64_4x1x1_kernel0_0": "attention",
    "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16>(const T1 *)": "attention",
    "fused_moe_kernel": "moe",
    "void vllm::moe::topkGating<(int)8, (int)64>(const T7 *)": "moe",
    ARGMAX: "sampling",
    "_gumbel_sample_kernel": "sampling",
    "nvjet_sm90_tst_64x8_64x16_4x1_v_bz_TNT": "gemm",
    "gemm_fusion_dot_96": "gemm",
    "void cublasLt::splitKreduce_kernel<(int)32>(cublasLt::cublasSplitKParams<T6>)": "gemm",
    "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_tn_align1>(T1::Params)": "gemm",
    NORM: "normalisation_elementwise",
    MUL: "normalisation_elementwise",
    "triton_red_fused_fused_add_rms_norm_0": "normalisation_elementwise",
    "loop_multiply_fusion_9": "normalisation_elementwise",
    "wrapped_broadcast": "normalisation_elementwise",
    "void at::native::<unnamed>::CatArrayBatchedCopy<T>(T1 *)": "copy",
    "input_transpose_fusion_16": "copy",
    "null_kernel": "other",
}


@pytest.mark.parametrize(("kernel", "expected"), CLASSES.items())
def test_shipped_classes(kernel: str, expected: str) -> None:
    assert classify([kernel], load_kernel_classes()) == [expected]


@pytest.mark.parametrize(
    ("name", "base", "short"),
    [
        (FLASH, "device_kernel", "device_kernel<FlashAttnFwdSm90>"),
        (MUL, "vectorized_elementwise_kernel", "vectorized_elementwise_kernel<MulFunctor>"),
        (NORM, "fused_add_rms_norm_kernel", "fused_add_rms_norm_kernel"),
        (ARGMAX, "reduce_kernel", "reduce_kernel<ArgMaxOps>"),
        ("void <unnamed>::softmax_warp_forward<float, (int)6>(T2 *)", "softmax_warp_forward", "softmax_warp_forward"),
        ("deep_ep::internode_ll::dispatch", "dispatch", "dispatch"),
        ("gemm_fusion_dot_96", "gemm_fusion_dot_96", "gemm_fusion_dot_96"),
        ("(unclosed", "unclosed", "unclosed"),
        (")", ")", ")"),
        ("", "", ""),
    ],
)
def test_names(name: str, base: str, short: str) -> None:
    assert base_name(name) == base
    assert short_name(name) == short


def test_long_names_take_time_in_proportion() -> None:
    hostile = "<" * 8000 + "elementwise_kernel<" + "w" * 8000 + "_kerne"
    assert short_name(hostile)
    assert classify([hostile], load_kernel_classes())


def test_own_table_comes_first(tmp_path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(
        '[[class]]\nname = "kv_cache"\ntitle = "KV cache"\nkernels = ["reshape_and_cache*"]\n'
        '[[class]]\nname = "gemm"\nkernels = ["MY_product_?"]\n'
    )
    classes = load_kernel_classes(own)
    names = ["void vllm::reshape_and_cache_flash_kernel<T>(T *)", "my_product_7", "my_product_77"]
    assert classify(names, classes) == ["kv_cache", "gemm", "other"]
    assert class_titles(classes)["kv_cache"] == "KV cache"
    assert class_titles(classes)["gemm"] == "GEMM"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"no \[\[class\]\]"),
        ("[[class]]\nkernels = ['a']", "without a name"),
        ("[[class]]\nname = 'a'", "kernels must be a list of globs"),
        ("[[class]]\nname = 'a'\nkernels = ['']", "kernels must be a list of globs"),
        ("[[class]]\nname = 'a'\nkernels = ['b']\npattern = 'c'", "unknown key 'pattern'"),
        ("[[class]", "not TOML"),
        ("a = " + "[" * 20_000, r"not TOML \(nested too deeply\)"),
    ],
)
def test_errors_name_file_and_class(tmp_path, text: str, complaint: str) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(text)
    with pytest.raises(TaxbreakError, match=complaint) as error:
        load_kernel_classes(own)
    assert str(own) in str(error.value)
    with pytest.raises(TaxbreakError, match="cannot be read"):
        load_kernel_classes(tmp_path / "absent.toml")


def test_a_table_without_end_is_refused() -> None:
    with pytest.raises(TaxbreakError, match="File too large"):
        load_kernel_classes(Path("/dev/zero"))


def test_a_changed_table_is_read_again(tmp_path) -> None:
    own = tmp_path / "mine.toml"
    for name in ("first", "second"):
        own.write_text(f'[[class]]\nname = "{name}"\nkernels = ["null_kernel"]\n')
        assert classify(["null_kernel"], load_kernel_classes(own)) == [name]
