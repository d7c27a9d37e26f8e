"""Networks: the ParagonSR2 families of small super-resolution networks (fixed upscaling plus learned detail)."""
