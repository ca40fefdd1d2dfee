"""The process and the machine, known to all rooms: errors, command-line habits, CPU settings, a fresh process.

Standard library only; `preparation` alone imports Paddle, when it is called.
"""
