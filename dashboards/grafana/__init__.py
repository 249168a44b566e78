"""The Grafana board of runs, made by `build` and kept beside it as `parle.json`."""
