"""What a command's boundary adds up to: one fold a noun, shared by the commands that depend on it."""
