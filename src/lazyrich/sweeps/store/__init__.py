"""A store of finished experiments: one file each, found by a hash of its settings.

``_key`` names an experiment, ``_result`` is what is kept of it, ``_codec`` turns that into
the bytes of a NetCDF file and back, ``_storage`` reads and writes a folder or a URL,
``_merged`` and ``_cache`` make many files quick to open, ``_store`` joins them.
"""
