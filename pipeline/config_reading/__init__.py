"""From a YAML file and overrides to a RunConfig, with all that is wrong with it said at once; and its documentation."""
