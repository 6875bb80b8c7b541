"""What every package uses: files written safely, memory, input checks, text for terminals."""
