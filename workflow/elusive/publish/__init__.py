"""The finished tables as a data set for others, and such a data set as a source of the workflow.

``dataset`` writes it: ``parts`` makes its tables out of the workflow's, ``description`` says what was run, and
``card``, ``citation`` and ``croissant`` describe it to people, to reference managers and to programs. ``upload`` brings
it to the Hugging Face hub in one commit. ``unpack`` turns a published set into the items tables and tables of
log-likelihoods that everything else reads, and ``every_eval_ever`` writes its results in the schema of that collection.
"""
