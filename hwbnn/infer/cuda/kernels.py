"""Which kernels there are, and which of them serve which processor."""

from dataclasses import dataclass

__all__ = ["KERNELS", "Tier", "tier_of"]

KERNELS: dict[str, tuple[str, ...]] = {
    "product_mma": ("product_mma",),
    "product_popc": ("product_popc",),
    "product_wgmma": ("product_wgmma",),
    "steps": ("pack_bytes", "pack_windows", "gather_words", "count_rows", "pool_words", "flatten_words", "unpack_words",
              "count_reached", "number_values", "value_numbers", "join_parts", "affine32", "affine64", "add32", "add64",
              "widen", "sum_windows", "argmax32", "argmax64"),
}  # source file to its kernels


@dataclass(frozen=True)
class Tier:
    """How one family of processors is served.

    Parameters
    ----------
    arch : :class:`str`
        What NVRTC compiles for.
    products : tuple
        Product kernels, quickest for large batches first; the last one works everywhere.
    """

    arch: str
    products: tuple[str, ...]


def tier_of(major: int, minor: int) -> Tier:
    """The tier of a compute capability; ``ValueError`` below 7.5.

    One-bit AND is native on the tensor cores of 8.x and 9.0; later ones emulate it, and ordinary cores do as well.
    """
    if (major, minor) < (7, 5):
        raise ValueError(f"Compute capability must be at least 7.5, not {major}.{minor}")
    if (major, minor) == (9, 0):
        return Tier("sm_90a", ("product_wgmma", "product_mma", "product_popc"))
    if major == 8:
        return Tier(f"sm_{major}{minor}", ("product_mma", "product_popc"))
    return Tier(f"sm_{major}{minor}", ("product_popc",))
