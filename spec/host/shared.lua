--- What requests of one nginx worker share in driver_spec.lua: a module is loaded once a worker.
return {}
