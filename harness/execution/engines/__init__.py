"""Where attempts run: this machine, Ray or Slurm."""
