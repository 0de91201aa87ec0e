//! MM-OVSeg as Burn modules, from the transformer block to the whole network.
