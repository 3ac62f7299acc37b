"""Running: devices, files, checkpoints, configuration and reports; what the command line stands on."""
