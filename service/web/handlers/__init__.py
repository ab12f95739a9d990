"""Handlers, one module for each noun: read a request, call storage or manage, answer. A handler
never imports another one."""
