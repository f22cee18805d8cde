package main

import (
	"encoding/binary"
	"hash"

	"github.com/IBM/sarama"
)

// Murmur2Partitioner places keys as kafka-clients does. Sarama has no murmur2 of its own.
var Murmur2Partitioner = sarama.NewCustomPartitioner(
	sarama.WithAbsFirst(),
	sarama.WithCustomHashFunction(func() hash.Hash32 { return &murmur2{} }),
)

type murmur2 struct{ key []byte }

func (m *murmur2) Write(part []byte) (int, error) {
	m.key = append(m.key, part...)
	return len(part), nil
}
func (m *murmur2) Reset()         { m.key = nil }
func (m *murmur2) Size() int      { return 4 }
func (m *murmur2) BlockSize() int { return 4 }

func (m *murmur2) Sum(before []byte) []byte { return binary.BigEndian.AppendUint32(before, m.Sum32()) }

func (m *murmur2) Sum32() uint32 {
	const mix = 0x5bd1e995
	rest := m.key
	sum := 0x9747b28c ^ uint32(len(rest))
	for ; len(rest) >= 4; rest = rest[4:] {
		word := binary.LittleEndian.Uint32(rest) * mix
		sum = sum*mix ^ (word^word>>24)*mix
	}
	if len(rest) > 0 {
		var last [4]byte
		copy(last[:], rest)
		sum = (sum ^ binary.LittleEndian.Uint32(last[:])) * mix
	}
	sum = (sum ^ sum>>13) * mix
	return sum ^ sum>>15
}
