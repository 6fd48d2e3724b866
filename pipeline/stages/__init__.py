"""One module a stage, one public function each."""
