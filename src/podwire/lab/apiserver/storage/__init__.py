"""Storage: objects and the event log in SQLite, and the fan-out of what is committed to those who watch.

A **record** is an object's JSON beside its **facts** (:mod:`.facts`): labels and selectable fields, so that lists and
watches are filtered without decoding objects. Every write is one transaction in one thread (:mod:`.store`) and gets
the next **version**, the resourceVersion of all kinds together. Committed changes go to the **hub** (:mod:`.hub`), and
stay in a bounded log from which a watch resumes.
"""
