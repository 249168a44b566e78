"""What a run leaves in its folder, on a disk or in an object store, and how one goes on from it."""
