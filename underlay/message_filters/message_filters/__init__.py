"""Filters between subscriptions and callbacks: pass on, remember, match by stamp."""

from message_filters.cache import Cache
from message_filters.simple_filter import SimpleFilter, Subscriber
from message_filters.synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ['ApproximateTimeSynchronizer', 'Cache', 'SimpleFilter', 'Subscriber', 'TimeSynchronizer']
