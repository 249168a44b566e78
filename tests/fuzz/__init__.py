"""Broken and hostile files by the thousand: every one is read, or refused in one message."""
