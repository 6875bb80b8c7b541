"""What every room of the house uses: files written safely, memory, input checks, text for terminals."""
