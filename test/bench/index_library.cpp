/*
 * index_library.cpp
 *		In-memory libraries on the data of the index benchmark, one thread each:
 *		hnswlib and FAISS as Debian packages them.
 *
 *	index_library build LIBRARY FILE [THREADS]
 *		Reads rows from standard input (index_data rows), builds the index, and
 *		writes it to FILE.  Prints rows, s on the clock, s of the processor, MB.
 *	index_library search LIBRARY FILE TRUTH K SECONDS SETTING...
 *		For each setting: LIBRARY SETTING recall, mean ms, median ms, p99 ms,
 *		processor ms.  Settings take turns in three rounds; the median of the
 *		rounds is printed.
 *
 * LIBRARY is
 *	hnswlib		M 16, ef_construction 64, inner products; SETTING is ef
 *	faiss-hnsw	IndexHNSWFlat with the same; SETTING is efSearch
 *	faiss-ivfpq	IVF of rows / 1000 lists at most 1024 (at least 64), 4-bit
 *				product codes scanned with shuffles, 1 for two dimensions, the
 *				nearest refined from the vectors themselves
 *				(IndexIVFPQFastScan, IndexRefineFlat); SETTING is nprobe:k_factor
 */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexRefine.h>
#include <faiss/index_io.h>
#include <hnswlib/hnswlib.h>
#include <omp.h>

/* index_bench.h is C; this is its file format */
namespace
{
constexpr uint32_t MAGIC = 0x62786e69;
constexpr size_t NEAREST = 100;
constexpr int M = 16;
constexpr int EF_CONSTRUCTION = 64;

struct Rows
{
	size_t d = 0;
	std::vector<float> x;
	size_t count() const { return d == 0 ? 0 : x.size() / d; }
};

struct Truth
{
	uint32_t queries = 0;
	uint32_t d = 0;
	std::vector<float> query;
	std::vector<int32_t> nearest; /* of the first set, all rows: [queries, NEAREST] */
};

double
clock_of(clockid_t which)
{
	timespec t;

	clock_gettime(which, &t);
	return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

void
get(FILE *file, void *to, size_t size)
{
	if (fread(to, size, 1, file) != 1)
		throw std::runtime_error("input is cut short");
}

uint32_t
get32(const char *from)
{
	uint32_t bits;

	memcpy(&bits, from, sizeof(bits));
	return ntohl(bits);
}

/* id, bucket, vector; ids count from 0 */
Rows
read_rows(FILE *file)
{
	Rows rows;
	char head[19];
	std::vector<char> record;

	get(file, head, sizeof(head));
	for (;;)
	{
		uint16_t fields;
		char fixed[22];
		size_t at;

		get(file, &fields, sizeof(fields));
		if (fields == 0xFFFF)
			return rows;
		get(file, fixed, 20);
		if (ntohs(fields) != 3)
			throw std::runtime_error("rows of index_data are wanted");
		record.resize(get32(fixed + 16));
		get(file, record.data(), record.size());
		rows.d = (record.size() - 4) / 4;
		at = rows.x.size();
		rows.x.resize(at + rows.d);
		for (size_t i = 0; i < rows.d; i++)
		{
			uint32_t bits = get32(record.data() + 4 + 4 * i);

			memcpy(&rows.x[at + i], &bits, sizeof(bits));
		}
	}
}

Truth
read_truth(const char *path)
{
	Truth truth;
	uint32_t header[4];
	FILE *file = fopen(path, "rb");

	if (file == nullptr)
		throw std::runtime_error(std::string(path) + " cannot be opened");
	get(file, header, sizeof(header));
	if (header[0] != MAGIC)
		throw std::runtime_error(std::string(path) + " is not a file of queries");
	truth.queries = header[1];
	truth.d = header[2];
	truth.query.resize(size_t(truth.queries) * truth.d);
	truth.nearest.resize(truth.queries * NEAREST);
	get(file, truth.query.data(), truth.query.size() * sizeof(float));
	get(file, truth.nearest.data(), truth.nearest.size() * sizeof(int32_t));
	fclose(file);
	return truth;
}

class Library
{
public:
	virtual ~Library() = default;
	virtual void build(const Rows &rows, int threads, const char *file) = 0;
	virtual void load(const char *file, size_t d) = 0;
	virtual void set(const char *setting) = 0;
	/* ids of the k nearest, -1 where fewer are known */
	virtual void search(const float *query, size_t k, int64_t *ids) = 0;
};

class Hnswlib : public Library
{
	std::unique_ptr<hnswlib::InnerProductSpace> space;
	std::unique_ptr<hnswlib::HierarchicalNSW<float>> index;

public:
	void build(const Rows &rows, int threads, const char *file) override
	{
		std::vector<std::thread> pool;

		space = std::make_unique<hnswlib::InnerProductSpace>(rows.d);
		index = std::make_unique<hnswlib::HierarchicalNSW<float>>(space.get(), rows.count(), M,
																  EF_CONSTRUCTION);
		index->addPoint(rows.x.data(), 0);
		for (int t = 0; t < threads; t++)
			pool.emplace_back([&, t] {
				for (size_t i = 1 + size_t(t); i < rows.count(); i += size_t(threads))
					index->addPoint(rows.x.data() + i * rows.d, i);
			});
		for (auto &thread : pool)
			thread.join();
		index->saveIndex(file);
	}

	void load(const char *file, size_t d) override
	{
		space = std::make_unique<hnswlib::InnerProductSpace>(d);
		index = std::make_unique<hnswlib::HierarchicalNSW<float>>(space.get(), file);
	}

	void set(const char *setting) override { index->setEf(size_t(atoi(setting))); }

	void search(const float *query, size_t k, int64_t *ids) override
	{
		auto found = index->searchKnn(query, k);

		std::fill(ids, ids + k, -1);
		while (!found.empty())
		{
			ids[found.size() - 1] = int64_t(found.top().second);
			found.pop();
		}
	}
};

class Faiss : public Library
{
protected:
	std::unique_ptr<faiss::Index> index;

public:
	void load(const char *file, size_t) override { index.reset(faiss::read_index(file)); }
};

class FaissHnsw : public Faiss
{
	faiss::SearchParametersHNSW how;

public:
	void build(const Rows &rows, int, const char *file) override
	{
		auto made = std::make_unique<faiss::IndexHNSWFlat>(int(rows.d), M);

		made->hnsw.efConstruction = EF_CONSTRUCTION;
		made->add(faiss::idx_t(rows.count()), rows.x.data());
		faiss::write_index(made.get(), file);
	}

	void set(const char *setting) override { how.efSearch = atoi(setting); }

	void search(const float *query, size_t k, int64_t *ids) override
	{
		std::vector<float> distance(k);

		index->search(1, query, faiss::idx_t(k), distance.data(), ids, &how);
	}
};

class FaissIvfPq : public Faiss
{
	faiss::SearchParametersIVF lists;
	faiss::IndexRefineSearchParameters how;

public:
	void build(const Rows &rows, int, const char *file) override
	{
		size_t count = std::min<size_t>(1024, std::max<size_t>(64, rows.count() / 1000));
		faiss::IndexFlatL2 coarse{faiss::idx_t(rows.d)};
		faiss::IndexIVFPQFastScan codes(&coarse, rows.d, count, rows.d / 2, 4);
		faiss::IndexRefineFlat whole(&codes);

		whole.train(faiss::idx_t(rows.count()), rows.x.data());
		whole.add(faiss::idx_t(rows.count()), rows.x.data());
		faiss::write_index(&whole, file);
	}

	void set(const char *setting) override
	{
		const char *colon = strchr(setting, ':');

		lists.nprobe = size_t(atoi(setting));
		how.k_factor = colon == nullptr ? 10 : float(atof(colon + 1));
		how.base_index_params = &lists;
	}

	void search(const float *query, size_t k, int64_t *ids) override
	{
		std::vector<float> distance(k);

		index->search(1, query, faiss::idx_t(k), distance.data(), ids, &how);
	}
};

std::unique_ptr<Library>
library_named(const std::string &name)
{
	if (name == "hnswlib")
		return std::make_unique<Hnswlib>();
	if (name == "faiss-hnsw")
		return std::make_unique<FaissHnsw>();
	if (name == "faiss-ivfpq")
		return std::make_unique<FaissIvfPq>();
	throw std::runtime_error("the library is hnswlib, faiss-hnsw or faiss-ivfpq");
}

double
quantile(std::vector<double> values, double part)
{
	std::sort(values.begin(), values.end());
	return values[size_t(part * double(values.size() - 1) + 0.5)];
}

double
recall(Library &library, const Truth &truth, size_t k)
{
	std::vector<int64_t> ids(k);
	size_t found = 0;

	for (size_t q = 0; q < truth.queries; q++)
	{
		const int32_t *nearest = &truth.nearest[q * NEAREST];

		library.search(&truth.query[q * truth.d], k, ids.data());
		for (size_t i = 0; i < k; i++)
			found += size_t(std::count(ids.begin(), ids.end(), nearest[i]));
	}
	return double(found) / double(k) / double(truth.queries);
}

struct Times
{
	std::vector<double> mean, median, p99, processor;
};

void
measure(Library &library, const Truth &truth, size_t k, double seconds, Times &times)
{
	std::vector<int64_t> ids(k);
	std::vector<double> sample;
	double start = clock_of(CLOCK_MONOTONIC);
	double used = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	double now = start;

	for (size_t q = 0; now < start + seconds || sample.size() < truth.queries; q++)
	{
		double begin = now;

		library.search(&truth.query[q % truth.queries * truth.d], k, ids.data());
		now = clock_of(CLOCK_MONOTONIC);
		sample.push_back((now - begin) * 1e3);
	}
	used = clock_of(CLOCK_PROCESS_CPUTIME_ID) - used;
	times.mean.push_back((now - start) * 1e3 / double(sample.size()));
	times.median.push_back(quantile(sample, 0.5));
	times.p99.push_back(quantile(sample, 0.99));
	times.processor.push_back(used * 1e3 / double(sample.size()));
}

int
run(int argc, char **argv)
{
	std::string mode = argc > 1 ? argv[1] : "";

	if (mode == "build" && (argc == 4 || argc == 5))
	{
		auto library = library_named(argv[2]);
		int threads = argc == 5 ? atoi(argv[4]) : 1;
		Rows rows = read_rows(stdin);
		double start = clock_of(CLOCK_MONOTONIC);
		double used = clock_of(CLOCK_PROCESS_CPUTIME_ID);
		struct stat file;

		omp_set_num_threads(threads);
		library->build(rows, threads, argv[3]);
		if (stat(argv[3], &file) != 0)
			throw std::runtime_error("nothing was written");
		printf("%zu %.2f %.2f %.0f\n", rows.count(), clock_of(CLOCK_MONOTONIC) - start,
			   clock_of(CLOCK_PROCESS_CPUTIME_ID) - used, double(file.st_size) / 1e6);
		return 0;
	}
	if (mode == "search" && argc >= 8)
	{
		auto library = library_named(argv[2]);
		Truth truth = read_truth(argv[4]);
		size_t k = size_t(atoi(argv[5]));
		double seconds = atof(argv[6]);
		std::vector<Times> times(size_t(argc) - 7);
		std::vector<double> found(size_t(argc) - 7);

		if (k < 1 || k > NEAREST)
			throw std::runtime_error("K is 1 to 100");
		omp_set_num_threads(1);
		library->load(argv[3], truth.d);
		for (int i = 7; i < argc; i++)
		{
			library->set(argv[i]);
			found[size_t(i) - 7] = recall(*library, truth, k);
		}
		for (int round = 0; round < 3 && seconds > 0; round++)
			for (int i = 7; i < argc; i++)
			{
				library->set(argv[i]);
				measure(*library, truth, k, seconds, times[size_t(i) - 7]);
			}
		for (int i = 7; i < argc; i++)
		{
			const Times &t = times[size_t(i) - 7];

			printf("%s %s %.4f", argv[2], argv[i], found[size_t(i) - 7]);
			if (seconds > 0)
				printf(" %.4f %.4f %.4f %.4f", quantile(t.mean, 0.5), quantile(t.median, 0.5),
					   quantile(t.p99, 0.5), quantile(t.processor, 0.5));
			printf("\n");
		}
		return 0;
	}
	throw std::runtime_error("build LIBRARY FILE [THREADS] | "
							 "search LIBRARY FILE TRUTH K SECONDS SETTING...");
}
} // namespace

int
main(int argc, char **argv)
{
	try
	{
		return run(argc, argv);
	}
	catch (const std::exception &error)
	{
		fprintf(stderr, "index_library: %s\n", error.what());
		return 2;
	}
}
