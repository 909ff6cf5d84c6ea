"""The mesh network: topology, routing tables and flit-level routers."""
