"""iCEBreaker: Lattice iCE40 UP5K, 12 MHz, FTDI FT2232H to USB (its second channel is the UART)."""

from hwbnn_boards.board import Board

__all__ = ["BOARD"]


def _platform():
    from amaranth_boards.icebreaker import ICEBreakerPlatform  # lazily: amaranth-boards is an extra

    return ICEBreakerPlatform()


BOARD = Board(
    name="icebreaker",
    title="iCEBreaker (iCE40 UP5K)",
    technology="ice40-up5k",
    clock_hz=12_000_000,
    make_platform=_platform,
    activity_led=1,  # green
    error_led=0,     # red
    programmer="iceprog {}",
)
