"""Networks: small fixed-base, learned-detail super-resolvers of the ParagonSR2 families."""
