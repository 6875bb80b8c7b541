"""What a run says of hardening, from its tables: by variant, by claim, in words and as Markdown."""
