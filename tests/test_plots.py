"""The loss curve."""

import pytest

from minirnn.plots import plot_losses

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("valid", [True, False])
def test_a_loss_curve_is_a_picture(tmp_path, valid):
    history = [{"step": 10 * i, "loss": 4 - i / 10} | ({"valid": 4.1 - i / 10} if valid else {}) for i in range(1, 6)]
    plot_losses(history, tmp_path / "loss.png", "character", 65)
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
