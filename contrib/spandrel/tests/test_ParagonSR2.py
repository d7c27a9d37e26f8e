from spandrel.architectures.ParagonSR2 import ParagonSR2, ParagonSR2Arch

from .util import assert_loads_correctly, skip_if_unchanged

skip_if_unchanged(__file__)


def test_load():
    assert_loads_correctly(
        ParagonSR2Arch(),
        lambda: ParagonSR2(network="paragonsr2_nano", scale=2),
        lambda: ParagonSR2(network="paragonsr2_nano", scale=4, options={"luma_body": True}),
        lambda: ParagonSR2(network="paragonsr2_s", scale=2, options={"use_attention": True}),
        lambda: ParagonSR2(network="paragonsr2_m", scale=2),
        lambda: ParagonSR2(network="paragonsr2_realtime", scale=1),
        lambda: ParagonSR2(network="paragonsr2_realtime", scale=2),
        lambda: ParagonSR2(network="paragonsr2_stream", scale=3),
        lambda: ParagonSR2(network="paragonsr2_photo", scale=2, options={"window_size": 8}),
        lambda: ParagonSR2(network="paragonsr2_pro", scale=2, options={"num_groups": 2}),
    )
