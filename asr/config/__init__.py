"""Gathers each room's schema and registers it with Hydra; nothing else."""
