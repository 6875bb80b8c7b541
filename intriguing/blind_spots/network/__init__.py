"""How the network is fed: batches whose size changes no bit, and gradients that cost less."""
