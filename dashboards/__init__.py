"""Pictures of runs, from their folders alone: no connection to Ray, nothing fetched."""
