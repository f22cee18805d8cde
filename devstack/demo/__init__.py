"""The demo: real servers, the real worker, sixty requests and their answers. `python -m devstack.demo`."""
