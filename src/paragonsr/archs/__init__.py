"""Networks: small super-resolvers, a fixed upscaling plus learned detail, of the ParagonSR2 families."""
