"""The commands, one file a verb: parse, build a config, call one verb of ``api``, print."""
