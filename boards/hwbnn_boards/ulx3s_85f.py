"""ULX3S with the largest device: Lattice ECP5 LFE5U-85F, 25 MHz, FTDI FT231X to USB (connector US1)."""

from hwbnn_boards.board import Board

__all__ = ["BOARD"]


def _platform():
    from amaranth_boards.ulx3s import ULX3S_85F_Platform  # lazily: amaranth-boards is an extra

    return ULX3S_85F_Platform()


BOARD = Board(
    name="ulx3s-85f",
    title="ULX3S (ECP5 LFE5U-85F)",
    technology="ecp5-85",
    clock_hz=25_000_000,
    make_platform=_platform,
    activity_led=0,
    error_led=1,
    programmer="openFPGALoader -b ulx3s {}",
)
