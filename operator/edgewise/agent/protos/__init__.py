"""The parts of two published gRPC interfaces that the agent speaks, and their generated messages.

`python -m edgewise.agent.protos` writes the `_pb2` files anew; a test compares them.
"""
