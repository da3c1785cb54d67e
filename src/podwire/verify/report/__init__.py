"""A proof for people (:mod:`.text`), for programs (:mod:`.machine`: JSON, JUnit). Pure."""
